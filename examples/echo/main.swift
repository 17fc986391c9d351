// echo
