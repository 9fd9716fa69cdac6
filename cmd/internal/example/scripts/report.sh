# Draws a bar for each country. The last line is the result.
table="$1" # lines of "country;total"
width="${2:-40}"

printf '%s\n' "$table" | sort -t ';' -k 2,2 -n -r | awk -F ';' -v width="$width" '
  NR == 1 { most = $2; leader = $1 }
  {
    sum += $2
    bar = sprintf("%*s", int($2 / most * width + 0.5), "")
    gsub(/ /, "#", bar)
    printf "%-12s %10.2f %s\n", $1, $2, bar
  }
  END { printf "%s leads with %.0f %% of %.2f\n", leader, 100 * most / sum, sum }'
