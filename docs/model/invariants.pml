/* The invariants I1 to I4 of posternd, and who watches them. Part of postern.pml. */

#define ON(g, k) (KEY(g) == (k))
#define DUE_AT(time) (m_end[0] && m_end[0] <= (time) || m_end[1] && m_end[1] <= (time))
#define DUE DUE_AT(now)
#define UNWRITTEN (waiting[0] != Nothing || waiting[1] != Nothing)
/* Up, nothing to do but to wait, nothing known to be wrong. */
#define SETTLED (up && idle && !resync && !heard && !other_boot && !UNWRITTEN)

/* The invariants make one exception, for what the daemon does on purpose.
 * UNRECORDED: it acknowledges a revoke that the disk has refused to record, and
 * that is in force, and records it later. A crash before that forgets the revoke,
 * and so does the check.
 *
 * STRICT does not make it, and fails. MENDED does not make it and holds: it
 * acknowledges such a revoke only when it is recorded. */
#if defined(STRICT) || defined(MENDED)
#define UNRECORDED(g) false
#else
#define UNRECORDED(g) (waiting[g] != Nothing)
#endif

#define LIVE(g) (d_state[g] == Active && now < d_end[g])
/* Its revoke is recorded and not yet acknowledged: it may still admit. */
#define ENDING(g) (d_state[g] == Revoked && told[g] != REVOKED_ACK && now < d_end[g])
#define COVERS(g, k) (ON(g, k) && (LIVE(g) || ENDING(g)))
#define COVERS_ALL(g, k) (COVERS(g, k) && k_end[k] <= d_end[g])
#define LIVE_ON(g, k) (ON(g, k) && LIVE(g))

/* I1: what the kernel admits, a durable grant covers; where the daemon is
 * settled, an active one, and the table stands. Without a table all is open:
 * only from a flush until its repair, which is what makes SETTLED false. */
#define I1_KEY(k)                                                              \
  (!table || !k_end[k] ||                                       \
   (COVERS(0, k) || COVERS(1, k)) &&                                           \
   (!SETTLED || LIVE_ON(0, k) || LIVE_ON(1, k)))
#define I1 (I1_KEY(0) && I1_KEY(1) && (!SETTLED || table))

/* I2: the kernel's own deadline is never after the end of what it admits for,
 * so that nobody needs to be there to close. */
#define I2_KEY(k)                                                              \
  (!table || !k_end[k] || COVERS_ALL(0, k) || COVERS_ALL(1, k))
#define I2 (I2_KEY(0) && I2_KEY(1))

/* I3: what is acknowledged and has not ended is on the disk, always; and in the
 * kernel until its end, with or without a daemon, unless somebody else emptied
 * the table; and there again once the daemon is settled. */
#define TOLD(g) (told[g] != REVOKED_ACK && now < told[g] && !leaving[g])
#define I3_GRANT(g)                                                            \
  (!TOLD(g) ||                                                                 \
   d_state[g] == Active && told[g] <= d_end[g] &&                              \
   (bare || told[g] <= k_end[KEY(g)]))
#define I3 (I3_GRANT(0) && I3_GRANT(1) && (!SETTLED || !bare))

/* I4: nothing is in the kernel, and nothing acknowledged, that is not on the
 * disk; an end is recorded as what it was, and where the daemon is settled and
 * nothing is due, none is missing. Answers before the kernel's are caught where
 * they are given. */
#define I4_KEY(k)                                                              \
  (!table || !k_end[k] || ON(0, k) && d_state[0] != Nothing ||  \
   ON(1, k) && d_state[1] != Nothing)
#define I4_GRANT(g)                                                            \
  ((!told[g] || d_state[g] != Nothing) &&                                      \
   (d_state[g] != Expired || d_end[g] <= now) &&                               \
   (d_state[g] == Revoked || told[g] != REVOKED_ACK || UNRECORDED(g)) &&       \
   (d_state[g] != Active || now < d_end[g] || !SETTLED || DUE))
#define I4 (I4_KEY(0) && I4_KEY(1) && I4_GRANT(0) && I4_GRANT(1))

/* Named, so that the verifier's report names them. */
bool I1_holds = true, I2_holds = true, I3_holds = true, I4_holds = true;

/* -DONLY=2 looks at I2 alone. */
#ifdef ONLY
#define WATCHED(i) (ONLY == (i))
#else
#define WATCHED(i) true
#endif

/* Looks at every state; does nothing unless an invariant is broken. */
active proctype Watcher() {
end:
  do
  :: atomic { WATCHED(4) && !(I4) -> I4_holds = false; assert(I4_holds) }
  :: atomic { WATCHED(3) && !(I3) -> I3_holds = false; assert(I3_holds) }
  :: atomic { WATCHED(2) && !(I2) -> I2_holds = false; assert(I2_holds) }
  :: atomic { WATCHED(1) && !(I1) -> I1_holds = false; assert(I1_holds) }
  od
}
