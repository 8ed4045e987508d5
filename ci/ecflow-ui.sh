#!/usr/bin/env bash
# A picture of the running server as operators see it: ecFlowUI in a virtual screen.
# usage: ci/ecflow-ui.sh OUT.png [WHEEL_CLICKS_DOWN]
source "$(dirname "$0")/common.sh"
OUT=$1
apt_need xvfb xdotool imagemagick ecflow-client
export PATH=$ROOT/.venv/bin:$PATH
# address and password file of the embedded server
eval "$(ml-suite services env)"

WORK=$(mktemp -d)
export HOME=$WORK QT_X11_NO_MITSHM=1
Xvfb -displayfd 3 -screen 0 1500x1150x24 -nolisten tcp 3>"$WORK/display" >"$WORK/xvfb.log" 2>&1 &
XVFB=$!
trap 'kill "$UI" "$XVFB" 2>/dev/null; rm -rf "$WORK"' EXIT
UI=$XVFB
until [ -s "$WORK/display" ]; do sleep 0.1; done
DISPLAY=:$(cat "$WORK/display")
export DISPLAY
ecflow_ui -ts "$ECF_HOST" "$ECF_PORT" >"$WORK/ui.log" 2>&1 &
UI=$!
sleep 8
WINDOW=$(xdotool search --onlyvisible --name 'ecFlowUI' | head -1)
xdotool windowmove "$WINDOW" 0 0 windowsize "$WINDOW" 1500 1150
sleep 1
# drag the splitter down, so that the tree has the room; unfold everything below the server; scroll to the rows asked for
xdotool mousemove 750 541 sleep 0.3 mousedown 1 sleep 0.2 mousemove 750 600 sleep 0.2 mousemove 750 900 sleep 0.2 \
    mousemove 750 1085 sleep 0.2 mouseup 1
sleep 0.5
xdotool mousemove 100 90 click 1
sleep 0.5
xdotool key asterisk
sleep 1
[ "${2:-0}" = 0 ] || xdotool mousemove 600 500 click --repeat "$2" --delay 20 5
sleep 1.5
import -window root "$OUT"
