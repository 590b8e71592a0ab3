# Skips what is done: a stamp holds the hash of a piece's inputs and is written last, so a changed or broken-off piece is recreated.
# shellcheck shell=bash

hash_of() { # hash_of PATH|=TEXT...: one hash of files, folders and texts
  local item
  for item; do
    if [[ $item == =* ]]; then
      echo "$item"
    elif [[ -d $item ]]; then
      (cd "$item" && find . -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum)
    else
      sha256sum <"$item"
    fi
  done | sha256sum | cut -c1-32
}

is_fresh() { # is_fresh NAME HASH OUTPUT...
  local stamp=$STAMPS/$1 hash=$2 output
  shift 2
  if [[ ! -r $stamp || $(<"$stamp") != "$hash" ]]; then return 1; fi
  for output; do
    if [[ ! -e $output ]]; then return 1; fi
  done
}

mark_fresh() { # mark_fresh NAME HASH
  mkdir -p "$STAMPS"
  echo "$2" >"$STAMPS/$1.new"
  mv "$STAMPS/$1.new" "$STAMPS/$1"
}
