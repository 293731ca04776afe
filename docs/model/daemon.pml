/* The daemon: what it does, step by step. Part of postern.pml. */

/* The ledger's answer for a key: the latest end among the claims that have time
 * left at `time`. */
#define CLAIM(g, k, time) (ON(g, k) && m_end[g] > (time) -> m_end[g] : 0)
#define LATER(a, b) ((a) > (b) -> (a) : (b))
#ifdef BUG_SHORTER_END
#define SHORTER(a, b) ((a) && ((a) < (b) || !(b)) -> (a) : (b))
#define WANTED(k, time) SHORTER(CLAIM(0, k, time), CLAIM(1, k, time))
#else
#define WANTED(k, time) LATER(CLAIM(0, k, time), CLAIM(1, k, time))
#endif

#ifdef BUG_NO_TIMEOUT
#define TIMEOUT(end) ((end) > now -> NEVER : 0)
#else
#define TIMEOUT(end) ((end) > now -> (end) : 0)
#endif

/* Programmer::Apply: brings the elements to `want` where that is not what is
 * installed, in one batch, all or nothing. It may be refused, and it may be done
 * without an acknowledgement. */
inline apply() {
  if
  :: want[0] == i_end[0] && want[1] == i_end[1] -> ok = true
  :: else ->
     if
     :: table -> d_step { kernel_takes(); i_end[0] = want[0]; i_end[1] = want[1]; ok = true }
     :: table -> d_step {
          kernel_takes();
          ok = false
        }
     :: ok = false
     fi
  fi;
  d_step { want[0] = 0; want[1] = 0 }
}

inline kernel_takes() {
  if :: want[0] != i_end[0] -> k_end[0] = TIMEOUT(want[0]) :: else fi;
  if :: want[1] != i_end[1] -> k_end[1] = TIMEOUT(want[1]) :: else fi
}

/* Programmer::Rebuild: replaces the whole table in one batch. */
inline rebuild() {
  if
  :: d_step { replace_table(); i_end[0] = WANTED(0, now); i_end[1] = WANTED(1, now); ok = true }
  :: d_step { replace_table(); ok = false }
  :: ok = false
  fi
}

inline replace_table() {
  table = true; owned = OWNS_TABLE;
  k_end[0] = TIMEOUT(WANTED(0, now)); k_end[1] = TIMEOUT(WANTED(1, now));
  bare = other_boot;
  leaving[0] = d_state[0] == Revoked || waiting[0] == Revoked;
  leaving[1] = d_state[1] == Revoked || waiting[1] == Revoked
}

/* What the disk has refused is written later. */
inline keep(i, change, deadline) {
  waiting[i] = change; w_deadline[i] = deadline
}

#define FORGETS(g) (waiting[g] != Nothing && told[g] == REVOKED_ACK)
inline lose_memory() {
  told[0] = (FORGETS(0) -> 0 : told[0]); told[1] = (FORGETS(1) -> 0 : told[1]);
  keep(0, Nothing, 0); keep(1, Nothing, 0);
  up = false; idle = false; owned = false;
  m_end[0] = 0; m_end[1] = 0; i_end[0] = 0; i_end[1] = 0;
  resync = false; retry = false; heard = false;
  at = 0; g = 0; before = 0; after = 0; ok = false
}

/* The early-boot unit loads the closed gate before the network is up. */
inline restart_machine() {
  table = true; k_end[0] = 0; k_end[1] = 0;
  bare = true; other_boot = true;
  if :: trusted = true :: trusted = false fi
}

/* What the wall clock told when the clocks were last read. */
#define WALL (trusted -> at : 0)

/* Gatekeeper::RestoreGrants for one grant, as of `at`. */
inline restore(i) {
  if
  :: d_state[i] == Active ->
     if
     :: other_boot && d_end[i] <= WALL -> d_deadline[i] = at
     :: other_boot && d_end[i] > WALL ->
        d_deadline[i] = at + d_end[i] - WALL
     :: else
     fi;
     if
#ifdef BUG_END_UNRECORDED
     :: d_deadline[i] <= at
#else
     :: d_deadline[i] <= at -> d_state[i] = Expired; forget_past(i)
#endif
     :: else -> m_end[i] = d_deadline[i]
     fi
  :: else
  fi
}

inline expire(i) {
  if
  :: m_end[i] && m_end[i] <= at -> keep(i, Expired, m_end[i]); m_end[i] = 0
  :: else
  fi
}

/* Gatekeeper::Commit: what waits is written before what is new. */
inline write_waiting(i) {
  if
  :: waiting[i] != Nothing ->
     if
     :: waiting[i] != TakenBack -> d_state[i] = waiting[i]
     :: waiting[i] == TakenBack -> d_state[i] = (w_deadline[i] -> Active : Nothing)
     fi;
     d_end[i] = w_deadline[i]; d_deadline[i] = w_deadline[i];
     waiting[i] = Nothing; w_deadline[i] = 0;
     forget_past(i)
  :: else
  fi
}

/* The change of one grant that a command has decided, made durable. */
inline record_change() {
  write_waiting(0); write_waiting(1);
  if
  :: !before -> d_state[g] = Active; d_end[g] = after; d_deadline[g] = after
  :: before && after ->
     d_end[g] = d_end[g] + after - before; d_deadline[g] = after
  :: !after -> d_state[g] = Revoked; leaving[g] = true
  fi
}

/* Gatekeeper::TakeBack; the ledger has what was before. */
inline take_back() {
  keep(g, TakenBack, before); write_waiting(0); write_waiting(1)
}

inline acknowledge() {
  told[g] = (after -> after : REVOKED_ACK)
}

/* An acknowledgement follows the kernel's. */
inline check_answer() {
  I4_holds = !WATCHED(4) || after <= now || !table || after <= k_end[KEY(g)];
  assert(I4_holds)
}

inline perhaps_longer() {
  do
  :: after < LAST -> after++
  :: break
  od
}

inline rebuild_or_retry() {
  rebuild();
  resync = !ok;
  retry = retry || resync
}

/* A kill or the end of the power, before any step. */
#define OR_CRASH                                                               \
  :: atomic { true -> lose_memory(); goto dead }                               \
  :: atomic { true -> lose_memory(); restart_machine(); goto dead }

#ifdef BUG_RESTORE_UNTRUSTED
#define MAY_RESTORE true
#else
#define MAY_RESTORE (!other_boot || trusted)
#endif

/* Nothing is asked of a daemon that has not restored its ledger. */
#define TAKES_COMMANDS (!other_boot && !DUE && !resync)

/* What the controller would be told of a grant now. */
#ifdef MENDED
#define IS_REVOKED(g) (waiting[g] == Nothing && d_state[g] == Revoked)
#else
#define IS_REVOKED(g) (waiting[g] == Revoked || waiting[g] == Nothing && d_state[g] == Revoked)
#endif
#define ANSWER(g) (IS_REVOKED(g) && !m_end[g] -> REVOKED_ACK : m_end[g])
#define KNOWS_LESS(g) (now < d_end[g] && ANSWER(g) && ANSWER(g) != told[g])

/* The ids are alike: the first to be created is 0. */
#define UNKNOWN(g) (d_state[g] == Nothing || waiting[g] == TakenBack && !m_end[g])
#define IS_NEXT(g) (UNKNOWN(g) && (!(g) || d_state[0] != Nothing))

/* A command touches its own key alone. */
#ifdef BUG_FORGET_OTHER_CLAIM
#define WANTED_BY_COMMAND(k) (KEY(g) != (k) -> i_end[k] : (after -> WANTED(k, at) : 0))
#else
#define WANTED_BY_COMMAND(k) (KEY(g) != (k) -> i_end[k] : WANTED(k, at))
#endif

active proctype Daemon() {
  /* When the clock was last read. */
  byte at;
  /* The command at hand: the grant, and its deadline before and after; 0 where
   * it is not live. */
  byte g, before, after;
  byte want[2];
  bool ok;

  if :: same_key = true :: same_key = false fi;

dead:
end_dead:
  if
  :: d_step { true -> up = true; at = now }
  :: atomic { true -> restart_machine(); goto dead }
  fi;

  /* Gatekeeper::Start: load, record, rebuild. */
start:
  if
  :: atomic { !MAY_RESTORE -> skip }
  :: d_step { MAY_RESTORE -> restore(0); restore(1); other_boot = false }
  OR_CRASH
  fi;
  if
  :: atomic {
       rebuild();
       if
       :: ok -> ok = false
       :: else ->
          /* It cannot start: CloseGate, if that succeeds, and exit. */
          if
          :: !table -> table = true
          :: true
          fi;
          lose_memory();
          goto dead
       fi
     }
  OR_CRASH
  fi;

loop:
  atomic { idle = true; at = 0; g = 0; before = 0; after = 0; ok = false };
end_loop:
  if
  /* The clock can be trusted at last. */
  :: atomic { other_boot && trusted -> idle = false; at = now; goto start }
  /* Somebody changed the table. */
#ifdef BUG_NO_REPAIR
  :: atomic { heard -> heard = false; goto loop }
#else
  :: atomic { heard -> idle = false; heard = false; goto repair }
#endif
  /* Gatekeeper::OnAlarm; after a failure it rings later. */
  :: atomic { DUE -> idle = false; at = now; goto record_ends }
  :: atomic { retry -> idle = false; retry = false; at = now; goto try_again }
  /* Gatekeeper::Execute: decide. */
  :: atomic {
       TAKES_COMMANDS ->
       if :: g = 0 :: g = 1 fi;
       before = m_end[g];
       if
       :: !before && IS_NEXT(g) && now < LAST -> after = now + 1; perhaps_longer()
       :: before && before < LAST -> after = before + 1; perhaps_longer()
       :: before -> after = 0
       :: else -> goto loop
       fi;
       idle = false; at = now; m_end[g] = after;
#ifdef BUG_ACK_BEFORE_COMMIT
       acknowledge();
#endif
#ifdef BUG_PROGRAM_BEFORE_COMMIT
       k_end[KEY(g)] = TIMEOUT(WANTED(KEY(g), at));
#endif
     }
  /* The same command again, its answer lost: it is answered, nothing is done. */
  :: atomic { TAKES_COMMANDS && KNOWS_LESS(0) -> told[0] = ANSWER(0); goto loop }
  :: atomic { TAKES_COMMANDS && KNOWS_LESS(1) -> told[1] = ANSWER(1); goto loop }
  OR_CRASH
  fi;

  /* Gatekeeper::Record: one transaction, or none where the disk refuses. */
  if
  :: d_step { true -> record_change() }
  :: atomic { after -> m_end[g] = before; goto loop }
  /* Gatekeeper::KeepWithdrawals: it must not wait for the disk. */
  :: d_step { !after -> keep(g, Revoked, before); leaving[g] = true; retry = true }
  OR_CRASH
  fi;
  /* Gatekeeper::Program. */
  if
  :: atomic {
       want[0] = WANTED_BY_COMMAND(0);
       want[1] = WANTED_BY_COMMAND(1);
       apply();
       if
       :: ok -> ok = false
       :: else -> m_end[g] = before; goto refused
       fi
     }
  OR_CRASH
  fi;
  /* Answer. */
  if
#ifdef MENDED
  :: atomic { waiting[g] != Nothing -> goto loop }
  :: atomic { waiting[g] == Nothing -> check_answer(); acknowledge(); goto loop }
#else
  :: atomic { true -> check_answer(); acknowledge(); goto loop }
#endif
  OR_CRASH
  fi;

  /* Gatekeeper::Program: Resync, until it succeeds; TakeBackRefused. */
refused:
  if
  :: atomic { rebuild(); if :: ok -> ok = false :: else -> goto refused fi }
  OR_CRASH
  fi;
  if
  :: atomic { true -> take_back(); leaving[g] = false; goto loop }
  :: atomic { true -> keep(g, TakenBack, before); retry = true; goto loop }
  OR_CRASH
  fi;
repair:
  if
  :: atomic { rebuild_or_retry(); goto loop }
  OR_CRASH
  fi;

  /* Gatekeeper::RetryDue. */
try_again:
  if
  :: atomic { !resync }
  :: atomic { resync -> rebuild_or_retry() }
  OR_CRASH
  fi;
  if
  :: d_step { true -> write_waiting(0); write_waiting(1) }
  :: atomic { UNWRITTEN -> retry = true }
  OR_CRASH
  fi;
  /* Gatekeeper::ExpireDue. */
record_ends:
  if
  :: atomic { !DUE_AT(at) -> goto loop }
  :: d_step { DUE_AT(at) -> expire(0); expire(1); write_waiting(0); write_waiting(1) }
  :: d_step { DUE_AT(at) -> expire(0); expire(1); retry = true }
  OR_CRASH
  fi;
  if
  :: atomic {
       want[0] = WANTED(0, at);
       want[1] = WANTED(1, at);
       apply();
       if
       :: ok -> goto loop
       :: else -> goto repair
       fi
     }
  OR_CRASH
  fi
}
