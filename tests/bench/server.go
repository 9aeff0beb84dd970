// A net/http server on a Unix socket that answers GET /v1/session with a file's contents:
// what neod's speed is compared with. server SOCKET FILE
package main

import (
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	body, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	length := strconv.Itoa(len(body))
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/v1/session", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", length) // or net/http chunks what is longer than 2 KiB
		w.Write(body)
	})
	log.Fatal(http.Serve(listener, nil))
}
