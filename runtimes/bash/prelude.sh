# Read by the shell before main.sh (BASH_ENV). When the script ends and left result.out but no result.json, the text becomes
# the JSON string that the server reads. A script with an EXIT trap of its own replaces this one.
unset BASH_ENV
__result_out() {
  set +euxo pipefail
  [[ -e $1/result.json || ! -f $1/result.out ]] && return
  local LC_ALL=C text i octal char code
  IFS= read -r -d '' text < "$1/result.out"
  text=${text%$'\n'}
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  for ((i = 1; i < 32; i++)); do
    printf -v octal '\\%03o' "$i"
    printf -v char "$octal"
    printf -v code '\\u%04x' "$i"
    text=${text//"$char"/"$code"}
  done
  printf '"%s"' "$text" > "$1/result.json"
}
trap "__result_out '$PWD'" EXIT
