# bash completion for neoctl; made by python -m tests.manual --write

_neoctl_accounts() {
    timeout 2 "$1" status --json 2>/dev/null | grep -oE '"[a-z0-9_-]+":\{"state"' | cut -d'"' -f2
}

_neoctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local verb='' given='' words='' i
    local program=${COMP_WORDS[0]/#\~/$HOME}
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --)
            if ((i + 1 == COMP_CWORD)); then
                COMPREPLY=($(compgen -c -- "$cur"))
            else
                compopt -o default
            fi
            return
            ;;
        -a | --account | --min-valid | --wait | --limit | --shell | --on-rotate | --evidence)
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++)) # = is a word of its own
            ((i++))
            ;;
        -* | =) ;;
        *) if [[ $verb ]]; then given=1; else verb=${COMP_WORDS[i]}; fi ;;
        esac
    done
    [[ $cur == = ]] && cur=''
    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
    case $prev in
        -a | --account)
            COMPREPLY=($(compgen -W "$(_neoctl_accounts "$program")" -- "$cur"))
            return
            ;;
        --shell) COMPREPLY=($(compgen -W 'sh fish' -- "$cur")); return ;;
        --on-rotate) COMPREPLY=($(compgen -W 'none restart SIGHUP' -- "$cur")); return ;;
        --min-valid | --wait | --limit | --evidence) return ;;
    esac
    if [[ ! $verb ]]; then
        words='token session get headers env exec watch wait status logins clients renew reject otp unblock pause resume reload doctor socket version help'
        [[ $cur == -* ]] && words='-a --account --help --version'
    elif [[ $cur == -* ]]; then
        case $verb in
        token) words='--account --json --min-valid --wait -a' ;;
        session) words='--account --json --min-valid --wait -a' ;;
        get) words='--account --json --min-valid --wait -a' ;;
        headers) words='--account --json --min-valid --wait -a' ;;
        env) words='--account --json --min-valid --wait --shell -a' ;;
        exec) words='--account --min-valid --wait --env --on-rotate -a' ;;
        watch) words='--account --json -a' ;;
        wait) words='--account --min-valid --wait -a' ;;
        status) words='--account --json --line -a' ;;
        logins) words='--account --json --limit -a' ;;
        clients) words='--json' ;;
        renew) words='--account --json -a' ;;
        reject) words='--account --json --evidence -a' ;;
        otp) words='--account --json -a' ;;
        unblock) words='--account --json --force -a' ;;
        pause) words='--account --json -a' ;;
        resume) words='--account --json -a' ;;
        reload) words='--json' ;;
        doctor) words='--account --json -a' ;;
        version) words='--json' ;;
        esac
    elif [[ $verb == get && ! $given ]]; then
        words='account generation kind token sid rid server_id base_url ucc greeting_name data_center is_trial_account password_expired scope source_address issued_at issued_at_rfc3339 expires_at expires_at_rfc3339 token_expires_at token_expires_at_rfc3339 bearer_expires_at bearer_expires_at_rfc3339 headers extra'
    elif [[ $verb == exec ]]; then
        words='--'
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _neoctl neoctl
