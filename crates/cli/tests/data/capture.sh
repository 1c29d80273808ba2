#!/bin/sh
# Captures the JSON of a configured Barman 3.19.1 server: capture.sh SERVER
set -eu
cd "$(dirname "$0")"
barman -f json backup "$1" > backup-main-2.json
barman -f json show-backup "$1" latest > show-backup-main.json
barman -f json list-backups "$1" > list-backups.json
