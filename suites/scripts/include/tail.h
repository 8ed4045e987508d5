
wait
trap - ERR TERM INT HUP EXIT
tell complete --complete
exit 0
