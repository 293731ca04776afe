# After a reboot, grants are restored whatever the clock says.
set(FROM [[now.wall >= *last_seen_ || with_.clock.IsSynchronised()]])
set(TO [[now.wall >= *last_seen_ || with_.clock.IsSynchronised() || true]])
