// Package proof holds the tests of what the whole program promises about Tor:
// separate processes of the built program, over a private Tor network of real
// tor processes, inside a leak lab that counts every packet.
//
// Every command and both kinds of node run there by every road into Tor, with
// tor killed and restarted in mid-transfer, and nothing may leave except
// through Tor. Then everything that the nodes wrote, announced and served is
// searched for secrets and for addresses of the machine, and defects are
// planted in the program to show that each would have been noticed.
//
// It has no code for others. What needs the leak lab is skipped, loudly, where
// there is no root, and fails where CI=true. Start with TestAnonymousGrid.
package proof
