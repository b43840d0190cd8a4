// Command relay puts a distance between a client and a server: what goes through arrives half a round trip later, and
// a connection takes a round trip to be made. It slows nothing down otherwise.
//
//	relay -to 127.0.0.1:9000 -rtt 40ms
//
// It listens on a free port of 127.0.0.1, prints that, and ends with its input.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

// What one direction of a connection holds at most: 128 pieces of 64 KiB, as much as 1.6 Gbit/s at 40 ms.
const pieces, pieceSize = 128, 64 << 10

type piece struct {
	due   time.Time
	bytes []byte
}

func main() {
	to := flag.String("to", "", "address of the server")
	rtt := flag.Duration("rtt", 40*time.Millisecond, "round trip")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go relay(client.(*net.TCPConn), *to, *rtt)
	}
}

func relay(client *net.TCPConn, to string, rtt time.Duration) {
	defer client.Close()
	time.Sleep(rtt)
	dialed, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	server := dialed.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		go func() {
			forward(way[0], way[1], rtt/2)
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

func forward(from, to *net.TCPConn, delay time.Duration) {
	queue := make(chan piece, pieces)
	go func() {
		defer close(queue)
		for {
			bytes := make([]byte, pieceSize)
			n, err := from.Read(bytes)
			if n > 0 {
				queue <- piece{time.Now().Add(delay), bytes[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	failed := false
	for next := range queue {
		time.Sleep(time.Until(next.due))
		if failed {
			continue
		}
		if _, err := to.Write(next.bytes); err != nil {
			failed = true
			from.Close()
		}
	}
	to.CloseWrite()
}
