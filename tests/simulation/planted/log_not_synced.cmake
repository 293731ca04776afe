# A transaction is acknowledged before it is on the disk.
set(FROM [["PRAGMA synchronous = EXTRA"]])
set(TO [["PRAGMA synchronous = NORMAL"]])
