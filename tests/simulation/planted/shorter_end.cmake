# Of two grants of one key, the shorter one's end counts.
set(FROM [[return claims.rbegin()->first;]])
set(TO [[return claims.begin()->first;]])
