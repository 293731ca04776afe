/*
 * posternd's ledger, kernel and timer, with a crash anywhere. README.md says
 * what is modelled and what is not; `check` searches the whole state space.
 *
 * Two grants, on one access key or on two, and LAST ticks of time. Each atomic
 * step below is one act that others can see: a transaction of the store, a batch
 * to the kernel, an answer to the controller. Between any two of them time may
 * pass, another program may flush the ruleset, and the daemon may be killed or
 * the machine restarted.
 *
 * Switches: BUG_* plants a mistake that the check must find. PERSIST: the kernel
 * knows tables that are owned and persist. STRICT and MENDED: see invariants.pml.
 */

/* Grants on two keys meet only through the daemon: they need less time. */
#define LAST (same_key -> 3 : 2)

#ifdef PERSIST
#define OWNS_TABLE true
#else
#define OWNS_TABLE false
#endif

/* A kernel element without a timeout. */
#define NEVER 15
/* What the controller was told of a grant: its end, or that it is revoked. */
#define REVOKED_ACK 255

/* A grant's state on the disk, or what waits to be written of it. */
mtype = { Nothing, Active, Expired, Revoked, TakenBack };

/* ---- The world ---------------------------------------------------------- */

/* True time. Ends are points on it; a grant admits while now < its end. */
byte now;
/* Both grants name the same source and port. */
bool same_key;
/* After a reboot the wall clock is right only once it can be trusted; before
 * that it tells a time before everything the ledger has seen. */
bool trusted = true;

#define KEY(g) (same_key -> 0 : (g))

/* ---- The disk: what a transaction has made durable ---------------------- */

mtype d_state[2] = Nothing;
/* By wall clock: never rewritten but by a command. */
byte d_end[2];
/* By the clock of the boot it was written in. */
byte d_deadline[2];
/* The deadlines are of a boot before this one. */
bool other_boot;

/* ---- The kernel --------------------------------------------------------- */

/* The table stands: what no element admits is dropped. */
bool table = true;
/* The end of each key's element; 0 where there is none. */
byte k_end[2];
/* Owned by the running daemon: no other program can flush it. */
bool owned;

/* ---- The daemon's memory: gone with the process ------------------------- */

bool up;
/* Waiting in its loop. */
bool idle;
/* Ledger: each live grant's deadline; 0 where there is none. */
byte m_end[2];
/* Programmer: what it believes to have installed. */
byte i_end[2];
/* Gatekeeper: the table may differ from the ledger, and is to be rebuilt. */
bool resync;
/* Changes that are in force and that the disk has refused to record. */
mtype waiting[2] = Nothing;
/* The deadline that waits with it; 0 where there is no grant to write. */
byte w_deadline[2];
/* Something failed and is not tried again yet. */
bool retry;
/* A notification waits: somebody changed the table. */
bool heard;

/* ---- What the check remembers ------------------------------------------- */

/* What the controller knows: 0 nothing, an end, or REVOKED_ACK. */
byte told[2];
/* A revoke was recorded, and the table has not been rebuilt since. */
bool leaving[2];
/* A flush or a reboot has emptied the table, and no rebuild has filled it. */
bool bare;

/* ---- Time, and other programs ------------------------------------------- */

/* The kernel ends an element by itself, with or without a daemon. */
#define RUN_OUT(k) k_end[k] = (k_end[k] <= now -> 0 : k_end[k])

/* What is over makes no difference any more: forgotten, so that states differ
 * only where it matters. */
inline forget_past(i) {
  if
  :: d_end[i] <= now && (d_state[i] == Expired || told[i] == REVOKED_ACK) ->
     d_end[i] = 0; d_deadline[i] = 0; told[i] = 0; leaving[i] = false
  :: else
  fi;
  if
  :: told[i] <= now -> told[i] = 0
  :: else
  fi
}

active proctype World() {
end:
  do
  :: d_step { now < LAST -> now++; RUN_OUT(0); RUN_OUT(1); forget_past(0); forget_past(1) }
  :: d_step { !trusted -> trusted = true }
  /* nft flush ruleset. An orphaned table is not spared. */
  :: d_step {
       table && !owned ->
       table = false; k_end[0] = 0; k_end[1] = 0;
       bare = true; heard = up;
     }
  od
}

#include "invariants.pml"
#include "daemon.pml"
