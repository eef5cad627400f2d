// Either end with the original library: go run . send PATH < FILE, go run . receive PATH >> FILE
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	udsipc "github.com/Psiphon-Inc/uds-ipc"
)

func main() {
	ends := map[string]func(string) error{"send": send, "receive": receive}
	if len(os.Args) != 3 || ends[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "go run . send PATH < FILE, go run . receive PATH >> FILE")
		os.Exit(2)
	}
	if err := ends[os.Args[1]](os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// send makes each line of standard input a message.
func send(path string) error {
	writer, err := udsipc.NewWriter(path, udsipc.WithWriterErrorCallback(report))
	if err != nil {
		return err
	}
	writer.Start()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 10<<20)
	var queued uint64
	for lines.Scan() {
		line := bytes.Clone(lines.Bytes()) // The writer keeps it.
		for errors.Is(writer.WriteMessage(line), udsipc.ErrBufferFull) {
			time.Sleep(10 * time.Millisecond)
		}
		if len(line) > 0 { // It does not send an empty one.
			queued++
		}
	}
	// It sends what is queued if it is connected now: it does not connect again to do so.
	within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = writer.Stop(within)
	sent, dropped, failed, left := writer.GetMetrics()
	fmt.Fprintf(os.Stderr, "%d sent, %d times dropped, %d tries failed, %d left\n", sent, dropped, failed, left)
	if sent < queued { // Without a connection its Stop throws away what is queued, and returns nil.
		err = errors.Join(err, fmt.Errorf("%d of %d messages are lost", queued-sent, queued))
	}
	return errors.Join(lines.Err(), err)
}

// receive writes each message as a line to standard output, until SIGTERM or an interrupt.
func receive(path string) error {
	var mutex sync.Mutex // Each connection calls the handler from a goroutine of its own.
	output := bufio.NewWriter(os.Stdout)
	handle := func(message []byte) error {
		mutex.Lock()
		defer mutex.Unlock()
		output.Write(message)
		output.WriteByte('\n')
		return output.Flush()
	}
	reader, err := udsipc.NewReader(handle, path, udsipc.WithReaderErrorCallback(report))
	if err != nil {
		return err
	}
	if err := reader.Start(); err != nil {
		return err
	}
	stopped, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	<-stopped.Done()
	within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return reader.Stop(within)
}

func report(err error, where string) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", where, err)
}
