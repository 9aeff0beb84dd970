// A bot that lives on neod's session, in Go: it follows the watch.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Session is what a bot needs of neod's; the others of its fields are in docs/protocol.md.
type Session struct {
	Generation int64             `json:"generation"`
	ExpiresAt  int64             `json:"expires_at"`
	Token      string            `json:"token"`
	Headers    map[string]string `json:"headers"`
}

var account = env("NEOD_ACCOUNT", "main")

// HTTP over neod's socket. Who calls sets the time.
var neod = http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		usual := fmt.Sprintf("/run/user/%d/neod/neod.sock", os.Getuid())
		return new(net.Dialer).DialContext(ctx, "unix", env("NEOD_SOCKET", usual))
	},
}}

func ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://neod"+path, body)
	if err != nil {
		return nil, err
	}
	return neod.Do(request)
}

func env(name, usual string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return usual
}

// follow sends each new session, over neod's restarts, and nil when the last one has lapsed.
func follow(sessions chan<- *Session) {
	for after := int64(0); ; {
		after = watch(after, sessions)
		fmt.Println("waiting")
		time.Sleep(time.Second)
	}
}

// watch tells of what comes after a generation, so nothing is missed between two of them. It returns
// the newest when neod goes away, or is not there.
func watch(after int64, sessions chan<- *Session) int64 {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	silence := time.AfterFunc(45*time.Second, cancel) // a heartbeat comes every 15
	defer silence.Stop()

	path := fmt.Sprintf("/v1/watch?account=%s&after=%d", account, after)
	response, err := ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return after
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; silence.Reset(45 * time.Second) {
		var told struct {
			Event   string
			Session *Session
		}
		if lines.Decode(&told) != nil {
			return after
		}
		switch told.Event {
		case "session":
			after = told.Session.Generation
			sessions <- told.Session
		case "expired":
			sessions <- nil
		}
	}
}

// reject tells neod that the broker refused a session, and what it said. It returns what came of it.
func reject(session *Session, evidence string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 70*time.Second)
	defer cancel()
	body, _ := json.Marshal(map[string]any{
		"account": account, "generation": session.Generation, "evidence": evidence,
	})
	response, err := ask(ctx, http.MethodPost, "/v1/reject", bytes.NewReader(body))
	if err != nil {
		return "unheard"
	}
	defer response.Body.Close()
	var answer struct{ Outcome, Code string }
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return "unheard"
	}
	return answer.Outcome + answer.Code // the one, or where neod could not do it the other
}

// calls sends what the broker answered. A real bot makes its calls here, with session.Headers; for
// this one a line on stdin is what the broker answered to one call.
func calls(answers chan<- string) {
	defer close(answers)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answers <- lines.Text()
	}
}

func main() {
	sessions, answers := make(chan *Session), make(chan string)
	go follow(sessions)
	go calls(answers)
	var session *Session // nil while there is none
	for {
		select {
		case session = <-sessions:
			if session != nil {
				fmt.Printf("session %d, %d bytes of token\n", session.Generation, len(session.Token))
			}
		case answer, more := <-answers:
			if !more {
				return
			}
			if session == nil || time.Now().Unix() >= session.ExpiresAt {
				fmt.Println("waiting")
				continue
			}
			if answer != "401" && answer != "100022" {
				continue
			}
			outcome := reject(session, answer)
			fmt.Printf("rejected %d %s\n", session.Generation, outcome)
			switch outcome {
			case "renewed", "newer", "deferred":
				session = nil // never again with this one
			default:
				time.Sleep(time.Second) // it is served on: no hurry
			}
		}
	}
}
