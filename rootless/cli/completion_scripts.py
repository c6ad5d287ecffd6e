"""What is the same in every completion script: the texts that `cli.completion` fills in with str.format."""

BASH = """\
# bash completion for {program}: source <({program} completion bash)
_{program}_words() {{
  # not compgen -W, which would expand $(...) in the name of a hostile image
  local word kept=${{cur%"${{cur##*:}}"}}  # readline breaks words at colons and replaces the rest only
  while IFS= read -r word; do
    [[ $word == "$cur"* && $word != *[^a-zA-Z0-9_./:@-]* ]] && COMPREPLY+=("${{word#"$kept"}}")
  done < <(eval "$1" 2>/dev/null)
}}

_{program}() {{
  local line=${{COMP_LINE:0:COMP_POINT}} cur='' prev='' word i j
  local command='' options='' takes_value='' source='' interspersed=1 positionals=0
  local -a words
  # not COMP_WORDS, which is broken at "=" and ":"
  read -ra words <<< "$line"
  if [[ $line != *[[:space:]] ]]; then
    cur=${{words[-1]}}
    unset 'words[-1]'
  fi
  prev=${{words[-1]}}
  if [[ $cur == --*=* ]]; then prev=${{cur%%=*}} cur=${{cur#*=}}; fi
  COMPREPLY=()
  for ((i = 1; i < ${{#words[@]}}; i++)); do
    case ${{words[i]}} in
      --root|--log-level) ((i++)) ;;
      -*) ;;
      *) command=${{words[i]}}; break ;;
    esac
  done
  if [[ -n $command ]]; then
    local name=''
    for ((j = i + 1; j < ${{#words[@]}}; j++)); do
      if [[ ${{words[j]}} != -* ]]; then name=${{words[j]}}; break; fi
    done
    case "$command $name" in
{groups}
      *) j=$i ;;
    esac
    i=$j
  fi
  case $command in
    '')
      case $prev in
        --root) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        --log-level) COMPREPLY=($(compgen -W 'debug info warn error fatal' -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W '{names} --root --log-level --help --version' -- "$cur")) ;;
      esac
      return ;;
{cases}
    *) return ;;
  esac
  for ((i++; i < ${{#words[@]}}; i++)); do
    word=${{words[i]}}
    if [[ $takes_value == *" $word "* ]]; then
      ((i++))
    elif [[ $word != -* ]]; then
      ((positionals++))
    fi
  done
  if ((positionals > 0 && !interspersed)); then
    compopt -o default
    return
  fi
  case "$command $prev" in
{values}
    *)
      if [[ $takes_value == *" $prev "* ]]; then
        return
      elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
      elif [[ -n $source ]]; then
        _{program}_words "$source"
      fi ;;
  esac
}}
complete -F _{program} {program}
"""

ZSH = """\
#compdef {program}
# zsh completion for {program}: source <({program} completion zsh)
{sources}

_{program}_commands() {{
  local -a commands
  commands=(
{commands}
  )
  _describe command commands
}}

_{program}() {{
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C \\
    '--root[Keep images and containers there]:directory:_directories' \\
    '--log-level[Log level]:level:(debug info warn error fatal)' \\
    '1:command:_{program}_commands' \\
    '*::argument:->arguments'
  [[ $state == arguments ]] || return
  local command=$line[1]
  case $command in
{groups}
  esac
  case $command in
{cases}
  esac
}}
compdef _{program} {program}
"""

ZSH_GROUP = """\
    {group})
      if (( CURRENT == 2 )); then
        local -a commands
        commands=(
{commands}
        )
        _describe command commands
        return
      fi
      shift words
      (( CURRENT-- ))
      case "{group} $words[1]" in
{cases}
        *) return ;;
      esac ;;"""

FISH = """\
# fish completion for {program}: {program} completion fish | source
function __{program}_command
    set -l names
    set -l words (commandline -opc)
    set -l is_value 0
    for word in $words[2..]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word --root --log-level
            set is_value 1
        else if not string match -q -- '-*' $word
            set -a names $word
        end
    end
    switch "$names[1] $names[2]"
{groups}
        case '*'
            echo $names[1]
    end
end

function __{program}_at
    set -l command (__{program}_command)
    test "$command" = $argv[1]
end"""
