"""Suspend to RAM: the kernel's timeouts stand still meanwhile, and grants do not."""

import time

from harness import lan
from harness.probes import CONTROL, Target
from harness.waiting import wait_for
from vm.case import PATIENCE, PORT, SLACK, Case

OPERATOR = Target(lan.OPERATOR, PORT)
# The machine learns how long it slept from a clock that counts in seconds.
CLOCK_OF_SECONDS = 1.0


class Sleep(Case):
    def sleep_until(self, end):
        return self.machine.suspend(lambda: wait_for(lambda: time.time() > end, "that time"))

    def test_a_grant_that_outlives_it_ends_on_time(self):
        grant = self.agent.grant(duration="45s")
        probes = self.probe(OPERATOR)
        probes.wait_answer(OPERATOR)
        self.sleep_until(grant["end"] - 20)
        probes.wait_answer(OPERATOR)
        self.assertEqual(self.agent.live()[grant["id"]], grant["end"])
        wait_for(lambda: time.time() > grant["end"] + SLACK + CLOCK_OF_SECONDS, "the end")
        self.assertAlmostEqual(self.last_in(probes, OPERATOR), grant["end"],
                               delta=SLACK + CLOCK_OF_SECONDS)
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end on record", PATIENCE)

    def test_a_grant_that_ends_in_it_is_over_at_the_awakening(self):
        grant = self.agent.grant(duration="15s")
        probes = self.probe(OPERATOR, interval=0.05)
        probes.wait_answer(OPERATOR)
        woken = self.sleep_until(grant["end"] + 5)
        probes.wait_answer()
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end on record", PATIENCE)
        expired = time.monotonic()
        self.assert_blocked()
        probes.stop()
        late = [a for a in probes.answers[OPERATOR] if a.answered > woken]
        self.assertFalse([a for a in late if a.sent > expired])
        # The first that anybody was answered.
        awake = min(a.answered for a in probes.got_in(CONTROL, woken))
        after = max((a.answered - awake for a in late), default=0)
        self.say(f"{len(late)} knocks got in within {after * 1000:.0f} ms of the awakening")

    def test_the_audit_tells_of_it(self):
        self.sleep_until(time.time() + 3)
        wait_for(lambda: any("slept" in str(event) for event in self.agent.events()),
                 "the sleep in the audit", PATIENCE)
