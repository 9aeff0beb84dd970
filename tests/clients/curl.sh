#!/bin/sh
# A bot that lives on neod's session, in sh with curl: it follows the watch.
set -u
socket=${NEOD_SOCKET:-/run/user/$(id -u)/neod/neod.sock} # else: what `neoctl socket` says
account=${NEOD_ACCOUNT:-main}
generation=0 # of the session we have; 0 is none
dead=0       # the one that the broker refused

neod() { curl -s --unix-socket "$socket" "$@"; }

# Each new session as a line, "session GENERATION", over restarts of neod, until we are told to end.
# A heartbeat comes every 15 seconds, so what is silent for 45 is dead.
follow() {
    trap 'kill $! 2>/dev/null; exit' TERM
    while :; do
        neod -N -Y 1 -y 45 "http://neod/v1/watch?account=$account" |
            sed -un 's/^{"event":"session"[^{]*"generation":\([0-9]*\).*/session \1/p' &
        wait $!
        echo waiting
        sleep 1 &
        wait $!
    done
}

# The session itself: a head with its generation and its end, an empty line, the token.
fetch() {
    reply=$(neod -i -m 70 "http://neod/v1/token?account=$account&after=$dead&wait=60") || return
    case $reply in 'HTTP/1.1 200 '*) ;; *) return 1 ;; esac
    generation=$(field Neod-Generation) expires=$(field Neod-Expires-At)
    token=$(printf '%s\n' "$reply" | tail -n 1)
}
field() { printf '%s\n' "$reply" | tr -d '\r' | sed -n "s/^$1: //p"; }

# The broker refused our session: say so, with what it said. Prints what came of it.
reject() {
    neod -m 70 -d "{\"account\":\"$account\",\"generation\":$generation,\"evidence\":\"$1\"}" \
        http://neod/v1/reject | sed -n 's/.*"\(outcome\|code\)":"\([a-z_]*\)".*/\2/p'
}

# Two things happen to a bot: neod has a new session, and the broker answers. A real bot makes its
# call where the line is read, with the token on curl's stdin and not in its argv:
#   printf 'Auth: %s\n' "$token" | curl -H @- …
# Here a line on stdin is what the broker answered to one call.
{
    follow &
    cat
    kill $!
} | while IFS= read -r line; do
    case $line in
    waiting) echo waiting ;;
    session\ *)
        [ "$line" = "session $generation" ] && continue # told again after a restart
        if fetch; then echo "session $generation, ${#token} bytes of token"; else echo waiting; fi
        ;;
    *)
        if [ "$generation" = "$dead" ] || [ "$(date +%s)" -ge "$expires" ]; then
            echo waiting # there is nothing to call the broker with
            continue
        fi
        case $line in
        401 | 100022)
            outcome=$(reject "$line")
            echo "rejected $generation ${outcome:-unheard}"
            case $outcome in
            renewed | newer | deferred) dead=$generation ;; # never again with this one
            *) sleep 1 ;;                                   # it is served on: no hurry
            esac
            ;;
        esac
        ;;
    esac
done
