"""A wall clock that is set, and a machine that stood still: ends come no later than
their time, nor than their duration."""

import time

from harness import lan
from harness.probes import Target
from harness.waiting import wait_for
from vm.case import PATIENCE, PORT, SLACK, Case

OPERATOR = Target(lan.OPERATOR, PORT)


class Steps(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.machine.set_clock)

    def test_ahead_but_not_past_the_end(self):
        grant = self.agent.grant(duration="1h")
        self.machine.set_clock(ahead=1800)
        wait_for(lambda: self.remaining() < 1800 + SLACK, "a sooner end in the kernel", PATIENCE)
        self.assertEqual(self.agent.live()[grant["id"]], grant["end"])
        self.assert_reaches()

    def test_ahead_past_the_end(self):
        grant = self.agent.grant(duration="1h")
        self.assert_reaches()
        self.machine.set_clock(ahead=3600)
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end", PATIENCE)
        self.assert_blocked()

    def test_back(self):
        """The duration on the clock that does not step."""
        grant = self.agent.grant(duration="15s")
        probes = self.probe(OPERATOR)
        self.machine.set_clock(ahead=-3600)
        probes.wait_answer(OPERATOR)
        wait_for(lambda: time.time() > grant["end"] + SLACK, "the end")
        self.assertAlmostEqual(self.last_in(probes, OPERATOR), grant["end"], delta=SLACK)
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end on record", PATIENCE)

    def test_back_and_ahead_again(self):
        grant = self.agent.grant(duration="1h")
        self.machine.set_clock(ahead=-7200)
        self.machine.set_clock()
        self.assertAlmostEqual(self.remaining(), grant["end"] - time.time(), delta=SLACK)
        self.assertEqual(self.agent.live()[grant["id"]], grant["end"])

    def test_a_paused_machine_whose_clock_is_then_set_right(self):
        grant = self.agent.grant(duration="24s")
        probes = self.probe(OPERATOR)
        probes.wait_answer(OPERATOR)
        with self.machine.paused():
            wait_for(lambda: time.time() > grant["end"] - 10, "most of the grant")
        self.machine.set_clock()
        probes.wait_answer(OPERATOR)
        wait_for(lambda: time.time() > grant["end"] + SLACK, "the end")
        self.assertAlmostEqual(self.last_in(probes, OPERATOR), grant["end"], delta=SLACK)

    def test_a_machine_that_is_paused_over_the_end(self):
        grant = self.agent.grant(duration="20s")
        self.assert_reaches()
        with self.machine.paused():
            wait_for(lambda: time.time() > grant["end"], "the end")
        self.machine.set_clock()
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end", PATIENCE)
        self.assert_blocked()
