# fish completion for neoctl; made by python -m tests.manual --write

# The words so far that are neither options nor their values; :command in place of what follows --
function __neoctl_words
    set -l value 0
    for word in (commandline -opc)[2..]
        if test $value = 1
            set value 0
        else if contains -- $word -a --account --min-valid --wait --limit --shell --on-rotate --evidence
            set value 1
        else if test "$word" = --
            echo :command
            return
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

function __neoctl_verb_is
    set -l words (__neoctl_words)
    not contains :command $words; and contains -- "$words[1]" $argv
end

function __neoctl_has_argument
    test (count (__neoctl_words)) -gt 1
end

function __neoctl_runs
    contains :command (__neoctl_words)
end

# What follows --, as a command line of its own.
function __neoctl_rest
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    string join ' ' -- (string escape -- $words[(math $at + 1)..]) (commandline -ct)
end

function __neoctl_accounts
    set -l program (commandline -opc)[1]
    timeout 2 (string replace -r "^~" $HOME $program) status --json 2>/dev/null | grep -oE '"[a-z0-9_-]+":\{"state"' | cut -d'"' -f2
end

complete -c neoctl -f
complete -c neoctl -n '__neoctl_verb_is ""' -a token -d 'the current session\'s token'
complete -c neoctl -n '__neoctl_verb_is ""' -a session -d 'the whole session, as JSON'
complete -c neoctl -n '__neoctl_verb_is ""' -a get -d 'one field of it: sid, expires_at, headers.Auth …'
complete -c neoctl -n '__neoctl_verb_is ""' -a headers -d 'what Kotak\'s API wants, for: curl -H @-'
complete -c neoctl -n '__neoctl_verb_is ""' -a env -d 'lines for a shell: eval "$(neoctl env)"'
complete -c neoctl -n '__neoctl_verb_is ""' -a exec -d 'run CMD once there is a session, neod at hand'
complete -c neoctl -n '__neoctl_verb_is ""' -a watch -d 'what happens from now on, a line each'
complete -c neoctl -n '__neoctl_verb_is ""' -a wait -d 'until there is a session, or --wait (300 s) is over'
complete -c neoctl -n '__neoctl_verb_is ""' -a status -d 'what neod is doing, account by account'
complete -c neoctl -n '__neoctl_verb_is ""' -a logins -d 'what went to the broker, and on whose word'
complete -c neoctl -n '__neoctl_verb_is ""' -a clients -d 'who is connected, and what each of them has'
complete -c neoctl -n '__neoctl_verb_is ""' -a renew -d 'log in now'
complete -c neoctl -n '__neoctl_verb_is ""' -a reject -d 'the broker refused this session'
complete -c neoctl -n '__neoctl_verb_is ""' -a otp -d 'hand over the OTP that neod waits for, from a prompt or stdin'
complete -c neoctl -n '__neoctl_verb_is ""' -a unblock -d 'allow one more login after refused ones'
complete -c neoctl -n '__neoctl_verb_is ""' -a pause -d 'no login by itself from now on'
complete -c neoctl -n '__neoctl_verb_is ""' -a resume -d 'logins by itself again'
complete -c neoctl -n '__neoctl_verb_is ""' -a reload -d 'have neod read its configuration anew'
complete -c neoctl -n '__neoctl_verb_is ""' -a doctor -d 'what is not as it has to be, and what mends it'
complete -c neoctl -n '__neoctl_verb_is ""' -a socket -d 'the path of neod\'s socket'
complete -c neoctl -n '__neoctl_verb_is ""' -a version -d 'the versions of neoctl and neod'
complete -c neoctl -n '__neoctl_verb_is "" token session get headers env exec watch wait status logins renew reject otp unblock pause resume doctor' -l account -s a -x -a '(__neoctl_accounts)' -d 'which account (or -a, or $NEOD_ACCOUNT)'
complete -c neoctl -n '__neoctl_verb_is token session get headers env watch status logins clients renew reject otp unblock pause resume reload doctor version' -l json -d 'JSON in place of text'
complete -c neoctl -n '__neoctl_verb_is token session get headers env exec wait' -l min-valid -x -d 'fail unless the session lives that long yet'
complete -c neoctl -n '__neoctl_verb_is token session get headers env exec wait' -l wait -x -d 'how long to wait for a session (default 0, at most 300)'
complete -c neoctl -n '__neoctl_verb_is status' -l line -d 'one short line, for a status bar'
complete -c neoctl -n '__neoctl_verb_is logins' -l limit -x -d 'how many logins to show (default 20)'
complete -c neoctl -n '__neoctl_verb_is env' -l shell -x -a 'sh fish' -d 'sh (default) or fish'
complete -c neoctl -n '__neoctl_verb_is exec' -l env -d 'give CMD the session\'s values too, as `env` names them'
complete -c neoctl -n '__neoctl_verb_is exec' -l on-rotate -x -a 'none restart SIGHUP' -d 'none (default), restart or SIGHUP, at each new session'
complete -c neoctl -n '__neoctl_verb_is reject' -l evidence -x -d 'why: a code, or the broker\'s reply; - reads it from stdin'
complete -c neoctl -n '__neoctl_verb_is unblock' -l force -d 'though the broker refused credentials twice within a day'
complete -c neoctl -n '__neoctl_verb_is get; and not __neoctl_has_argument' -a 'account generation kind token sid rid server_id base_url ucc greeting_name data_center is_trial_account password_expired scope source_address issued_at issued_at_rfc3339 expires_at expires_at_rfc3339 token_expires_at token_expires_at_rfc3339 bearer_expires_at bearer_expires_at_rfc3339 headers extra'
complete -c neoctl -n __neoctl_runs -a '(complete -C (__neoctl_rest))'
complete -c neoctl -n '__neoctl_verb_is ""' -s h -l help -d 'all verbs and options'
complete -c neoctl -n '__neoctl_verb_is ""' -l version -d 'the versions'
