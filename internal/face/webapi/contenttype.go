package webapi

import (
	"path"
	"strings"
)

// contentType guesses from a file's name. The table is our own, so that a file
// has the same type on every machine.
func contentType(name string) string {
	if t, ok := types[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "text/plain"
}

// plainText reports whether files of a type are text that does not say itself
// how it is encoded.
func plainText(kind string) bool {
	return strings.HasPrefix(kind, "text/") && kind != "text/html"
}

// types by extension. What is compressed is of the type of its compression:
// the bytes are to arrive as they were stored.
var types = map[string]string{
	".7z": "application/x-7z-compressed", ".bz2": "application/x-bzip2", ".gz": "application/gzip", ".tgz": "application/gzip",
	".rar": "application/vnd.rar", ".tar": "application/x-tar", ".xz": "application/x-xz", ".zip": "application/zip", ".zst": "application/zstd",
	".jar": "application/java-archive", ".deb": "application/vnd.debian.binary-package", ".rpm": "application/x-rpm",
	".apk": "application/vnd.android.package-archive", ".iso": "application/x-iso9660-image", ".torrent": "application/x-bittorrent",
	".bin": "application/octet-stream", ".exe": "application/octet-stream", ".dll": "application/octet-stream", ".img": "application/octet-stream",
	".so": "application/octet-stream", ".dmg": "application/octet-stream", ".msi": "application/octet-stream", ".wasm": "application/wasm",

	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
	".json": "application/json", ".xml": "application/xml", ".csv": "text/csv", ".md": "text/markdown", ".rtf": "application/rtf",
	".ics": "text/calendar", ".vcf": "text/vcard", ".txt": "text/plain", ".log": "text/plain", ".sh": "text/plain", ".py": "text/x-python", ".c": "text/x-csrc",
	".patch": "text/x-diff", ".diff": "text/x-diff", ".tex": "application/x-tex", ".sig": "application/pgp-signature", ".asc": "text/plain",

	".pdf": "application/pdf", ".ps": "application/postscript", ".eps": "application/postscript", ".epub": "application/epub+zip",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odp": "application/vnd.oasis.opendocument.presentation",

	".avif": "image/avif", ".bmp": "image/bmp", ".gif": "image/gif", ".heic": "image/heic", ".ico": "image/vnd.microsoft.icon", ".jpeg": "image/jpeg",
	".jpg": "image/jpeg", ".jxl": "image/jxl", ".png": "image/png", ".svg": "image/svg+xml", ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
	".aac": "audio/aac", ".flac": "audio/flac", ".m4a": "audio/mp4", ".mid": "audio/midi", ".mp3": "audio/mpeg", ".oga": "audio/ogg", ".ogg": "audio/ogg",
	".opus": "audio/ogg", ".wav": "audio/x-wav", ".weba": "audio/webm",
	".avi": "video/x-msvideo", ".m4v": "video/mp4", ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp4": "video/mp4", ".mpeg": "video/mpeg",
	".mpg": "video/mpeg", ".ogv": "video/ogg", ".ts": "video/mp2t", ".webm": "video/webm",
	".otf": "font/otf", ".ttf": "font/ttf", ".woff": "font/woff", ".woff2": "font/woff2",
}
