#!/bin/bash
# What systemd does with our units, in a machine where nothing boots: see scratch.py.
set -eu
running=/run/units
mkdir -p "$running"
value() { sed -n "s/^$2=//p" "/etc/systemd/system/$1.service" | tail -n 1; }
stop() {
    if [ -f "$running/$1" ]; then
        kill -TERM -- "-$(cat "$running/$1")" 2>/dev/null || true
        for _ in $(seq 150); do
            kill -0 -- "-$(cat "$running/$1")" 2>/dev/null || break
            sleep 0.1
        done
        rm -f "$running/$1"
    fi
}
start() {
    if [ "$1" = nginx ]; then
        if [ -s /run/nginx.pid ]; then nginx -s reload; else nginx; fi
        return
    fi
    cd "$(value "$1" WorkingDirectory)"
    # Of a shell's reading, which differs, the value's own characters must not matter: see the page.
    set -a
    # shellcheck disable=SC1090
    . "$(value "$1" EnvironmentFile)"
    set +a
    read -ra command <<< "$(value "$1" ExecStart)"
    user=$(value "$1" User)
    setsid setpriv --reuid "$user" --regid "$user" --init-groups "${command[@]}" >> "/var/log/$1.log" 2>&1 < /dev/null &
    echo $! > "$running/$1"
    cd /
}
words=()
for word in "$@"; do [ "$word" = --now ] || words+=("${word%.service}"); done
set -- "${words[@]}"
act=$1; shift
for unit in "$@"; do
    case $act in
        enable | start) start "$unit" ;;
        disable | stop) stop "$unit" ;;
        restart | reload-or-restart) stop "$unit"; start "$unit" ;;
        *) echo "not known: $act" >&2; exit 1 ;;
    esac
done
[ "$act" = daemon-reload ] || [ $# -gt 0 ]
