"""Upgrades, with somebody knocking all the while."""

import time

from harness import lan
from harness.agent import CONFIGURATION, UNIT
from harness.case import Case
from harness.packages import PREVIOUS, version_of
from harness.probes import Target, everything
from harness.waiting import wait_for

GRANTED = Target(lan.OPERATOR, 3389)


class Upgrade(Case):
    def prepare(self):
        """The previous version at work, with a grant, a session and the probing."""
        self.agent.configure()
        self.box.boot()
        self.box.install(*self.previous_debs())
        self.agent.wait_ready()
        grant = self.agent.grant("--port", "3389")
        session = self.session()
        probes = self.probe(GRANTED, *everything())
        probes.wait_answer(GRANTED)
        return grant, session, probes, time.monotonic()

    def assert_all_are(self, version):
        """The package, the program of a person, and the agent that runs."""
        installed = self.box.run("dpkg-query", "-W", "-f", "${Version}", "postern-agent").stdout
        self.assertEqual(installed, version)
        self.assertEqual(self.agent.ctl("--version").stdout, f"posternctl {version}\n")
        self.assertEqual(self.agent.ask("status")["version"], version)

    def test_nothing_opens_and_nobody_is_cut_off(self):
        grant, session, probes, since = self.prepare()
        pid = self.agent.pid()
        configuration = self.box.path(CONFIGURATION).read_text()
        self.assert_all_are(PREVIOUS)

        self.box.install(*self.debs)
        # The new program runs, and not from a moment later on.
        self.assertTrue(self.agent.is_ready())
        self.assert_all_are(version_of(self.debs[0]))
        self.assertNotEqual(self.agent.pid(), pid)

        probes.wait_answer(GRANTED)
        until = time.monotonic()
        session.wait_tick()
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assertEqual(self.box.path(CONFIGURATION).read_text(), configuration)
        self.assert_never_in(probes, everything())
        self.assert_always_in(probes, GRANTED, since, until)

        # Once more, of the same version; and back.
        self.box.apt("install", "--reinstall", f"/var/cache/{self.debs[0].name}")
        self.assert_blocked(lan.STRANGER)
        self.box.apt("install", "--allow-downgrades",
                     *(f"/var/cache/{deb.name}" for deb in self.previous_debs()))
        self.agent.wait_ready()
        self.assert_all_are(PREVIOUS)
        self.assert_blocked(lan.STRANGER)
        session.wait_tick()
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})

    def test_a_new_version_that_does_not_start_stays_closed(self):
        grant, session, probes, since = self.prepare()
        self.box.write(f"/etc/systemd/system/{UNIT}.d/broken.conf",
                       "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=10ms\n")
        self.box.run("apt-get", "-y", "install",
                     *(f"{self.copied(deb)}" for deb in self.debs), check=False)
        wait_for(lambda: self.box.state(UNIT) == "failed", "the last attempt to start")
        probes.wait_answer(GRANTED)
        session.wait_tick()
        until = time.monotonic()

        # Mended, it goes on where it was.
        self.box.path(f"/etc/systemd/system/{UNIT}.d/broken.conf").unlink()
        self.box.run("systemctl", "daemon-reload")
        self.box.run("systemctl", "reset-failed", UNIT)
        self.box.run("apt-get", "-y", "install", "--fix-broken")
        self.box.run("systemctl", "start", UNIT)
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assert_never_in(probes, everything())
        self.assert_always_in(probes, GRANTED, since, until)

    def copied(self, deb):
        name = f"/var/cache/{deb.name}"
        self.box.path(name).write_bytes(deb.read_bytes())
        return name

    def test_an_observing_host_goes_on_observing(self):
        self.box.boot()
        self.box.install(*self.previous_debs())
        self.box.install(*self.debs)
        self.agent.wait_ready()
        self.assertEqual(self.agent.ask("status")["mode"], "observe")
        self.assert_reaches(lan.STRANGER)
        self.assertFalse(list(self.box.path("/etc/postern").glob("*.dpkg-*")))
