# bash completion for neod; made by python -m tests.manual --write

_neod() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=''
    COMPREPLY=()
    [[ $cur == = ]] && cur=''
    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
    case $prev in
        --config) compopt -o default; return ;;
        --bearer-life | --edge | --fault | --for | --life | --port) return ;;
    esac
    if ((COMP_CWORD == 1)); then
        words='run sandbox demo login check setup install uninstall --help --version'
    elif [[ $cur == -* ]]; then
        case ${COMP_WORDS[1]} in
        run) words='--config' ;;
        sandbox) words='--port --life --edge --bearer-life --fault' ;;
        demo) words='--for' ;;
        login) words='--config' ;;
        check) words='--config' ;;
        setup) words='--config' ;;
        install) words='--config --no-linger --force' ;;
        uninstall) words='--force' ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _neod neod
