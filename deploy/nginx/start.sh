#!/bin/sh
# Starts nginx with the name server of its network, which is another one under Docker and under Podman.
set -eu

awk '/^nameserver/ {
    print "resolver " ($2 ~ /:/ ? "[" $2 "]" : $2) " valid=10s ipv6=off;"
    exit
}' /etc/resolv.conf > /tmp/resolver.conf

exec nginx -c /etc/nginx/autorthanc.conf -g 'daemon off;'
