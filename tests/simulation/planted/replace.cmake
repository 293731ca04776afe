# cmake -DIN=FILE -DOUT=FILE -DBUG=FILE -P replace.cmake
# Copies IN with the one FROM in it replaced by TO, both of which BUG sets. Fails
# unless there is exactly one: a bug that is not planted would prove nothing.
include("${BUG}")
file(READ "${IN}" text)
string(FIND "${text}" "${FROM}" first)
string(FIND "${text}" "${FROM}" last REVERSE)
if(first EQUAL -1 OR NOT first EQUAL last)
  message(FATAL_ERROR "${IN} does not hold \"${FROM}\" exactly once; mend ${BUG}")
endif()
string(REPLACE "${FROM}" "${TO}" text "${text}")
file(WRITE "${OUT}" "${text}")
