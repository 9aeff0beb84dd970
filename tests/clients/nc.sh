#!/bin/sh
# A bot that lives on neod's session, in sh with nc (netcat-openbsd): it asks before each call.
set -u
export LC_ALL=C # ${#body} counts bytes
socket=${NEOD_SOCKET:-/run/user/$(id -u)/neod/neod.sock} # else: what `neoctl socket` says
account=${NEOD_ACCOUNT:-main}
generation=0 # of the session we had last; 0 is none
dead=0       # the one that the broker refused

# One request, from printf's arguments: HTTP/1.0, so the reply is all that comes.
ask() {
    reply=$(printf "$@" | nc -U -w 70 "$socket" 2>/dev/null | tr -d '\r')
    body=$(printf '%s\n' "$reply" | tail -n 1)
    # A reply that was cut off is none.
    [ "$(field Content-Length)" = $((${#body} + 1)) ]
}
field() { printf '%s\n' "$reply" | sed -n "s/^$1: //p"; }

# The session of this moment, waiting while there is none but the dead one. It costs a few
# milliseconds, so nothing is kept, and nothing that is kept can be stale.
session() {
    until ask 'GET /v1/token?account=%s&after=%s&wait=60 HTTP/1.0\r\n\r\n' "$account" "$dead" &&
        case $reply in 'HTTP/1.1 200 '*) ;; *) false ;; esac do
        echo waiting
        sleep 1
    done
    token=$body
    [ "$generation" = "$(field Neod-Generation)" ] && return
    generation=$(field Neod-Generation)
    echo "session $generation, ${#token} bytes of token"
}

# The broker refused our session: say so, with what it said.
reject() {
    said="{\"account\":\"$account\",\"generation\":$generation,\"evidence\":\"$1\"}"
    outcome=unheard
    ask 'POST /v1/reject HTTP/1.0\r\nContent-Length: %s\r\n\r\n%s' ${#said} "$said" &&
        outcome=$(printf '%s\n' "$body" | sed -n 's/.*"\(outcome\|code\)":"\([a-z_]*\)".*/\2/p')
    echo "rejected $generation $outcome"
    case $outcome in
    renewed | newer | deferred) dead=$generation ;; # never again with this one
    *) sleep 1 ;;                                   # it is served on: no hurry
    esac
}

# A real bot calls the broker here, with $token. This one reads the broker's answer from stdin.
while
    session
    IFS= read -r answer
do
    case $answer in 401 | 100022) reject "$answer" ;; esac
done
