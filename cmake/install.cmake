# What is installed where, in two components:
#   agent   posternd, its units, its configuration and manual pages
#   cli     posternctl, its completions and manual page
# and agent_portable, cli_portable: the programs alone, linked for any distribution,
# to be installed over those of the components.
#
# The packages are made from these rules and add nothing to the list of files but
# what their formats ask for.

include(GNUInstallDirs)

set(where_units lib/systemd/system)

install(TARGETS posternd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT agent)
install(FILES systemd/postern-agent.service systemd/postern-lockdown.service
  DESTINATION ${where_units} COMPONENT agent)
install(FILES systemd/postern-agent.sysusers
  DESTINATION lib/sysusers.d RENAME postern-agent.conf COMPONENT agent)
install(FILES packaging/postern-agent.preset
  DESTINATION lib/systemd/system-preset RENAME 80-postern-agent.preset COMPONENT agent)
# Where the units and the program look for it, whatever the prefix.
install(FILES packaging/agent.yaml DESTINATION /etc/postern COMPONENT agent)
install(FILES docs/man/agent.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT agent)

install(TARGETS posternctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cli)

install(TARGETS posternd_portable EXCLUDE_FROM_ALL
  RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT agent_portable)
install(TARGETS posternctl_portable EXCLUDE_FROM_ALL
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cli_portable)
