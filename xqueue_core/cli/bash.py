"""The completion script for bash."""

from __future__ import annotations

# Bash splits words at colons and equal signs, and ids have a colon. `COMP_WORDBREAKS` says so for
# every program of the shell, so it stays as it is: the pieces are put together by where white
# space stands in the line, and what the shell takes for the word's beginning is cut off again.
SCRIPT = r"""_xqueue_completion() {
    local line=$COMP_LINE words=() cword=0 last=-1 n word
    for ((n = 0; n < ${#COMP_WORDS[@]}; n++)); do
        word=${COMP_WORDS[n]}
        if [[ $n == 0 || $line == [[:blank:]]* ]]; then
            last=$((last + 1))
            words[last]=$word
        else
            words[last]+=$word
        fi
        line=${line#"${line%%[![:blank:]]*}"}
        line=${line#"$word"}
        if ((n == COMP_CWORD)); then
            cword=$last
        fi
    done
    local cut=""
    if [[ $COMP_WORDBREAKS == *:* && ${words[cword]} == *:* ]]; then
        cut=${words[cword]%"${words[cword]##*:}"}
    fi
    local IFS=$'\n' response type value
    response=$(env COMP_WORDS="${words[*]}" COMP_CWORD="$cword" \
        _XQUEUE_COMPLETE=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done <<< "$response"
}

complete -o nosort -F _xqueue_completion xqueue
"""
