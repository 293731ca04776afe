# What is installed where, in four components:
#   agent       posternd, its units, its configuration and manual pages
#   cli         posternctl, its completions and manual page
#   controller  postern-controller, its unit, its configuration and manual pages
#   exporter    postern-exporter, its unit and manual page
# and agent_portable, cli_portable, controller_portable: the programs alone, linked for
# any distribution, to be installed over those of the components.
#
# The packages are made from these rules and add nothing to the list of files but
# what their formats ask for.

include(GNUInstallDirs)

set(where_units lib/systemd/system)

# Only what posternctl itself says can complete it.
set(completions ${CMAKE_BINARY_DIR}/completions)
add_custom_command(
  OUTPUT ${completions}/bash ${completions}/zsh ${completions}/fish
  COMMAND ${CMAKE_COMMAND} -E make_directory ${completions}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/packaging/completions/generate.py
          $<TARGET_FILE:posternctl> ${completions}
  DEPENDS posternctl packaging/completions/generate.py
  VERBATIM)
# It runs the program, which with sanitizers is for tests alone.
if(NOT POSTERN_SANITIZE AND NOT POSTERN_FUZZ)
  set(into_all ALL)
endif()
add_custom_target(completions ${into_all} DEPENDS ${completions}/bash ${completions}/zsh ${completions}/fish)

install(TARGETS posternd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT agent)
install(FILES systemd/postern-agent.service systemd/postern-lockdown.service
  DESTINATION ${where_units} COMPONENT agent)
install(FILES systemd/postern-agent.sysusers
  DESTINATION lib/sysusers.d RENAME postern-agent.conf COMPONENT agent)
install(FILES systemd/postern.catalog DESTINATION lib/systemd/catalog COMPONENT agent)
install(FILES systemd/postern-agent.tmpfiles
  DESTINATION lib/tmpfiles.d RENAME postern-agent.conf COMPONENT agent)
install(FILES packaging/postern-agent.preset
  DESTINATION lib/systemd/system-preset RENAME 80-postern-agent.preset COMPONENT agent)
# Where the units and the program look for it, whatever the prefix.
install(FILES packaging/agent.yaml DESTINATION /etc/postern COMPONENT agent)
install(FILES docs/man/posternd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT agent)
install(FILES docs/man/agent.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT agent)

install(TARGETS posternctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cli)
install(FILES docs/man/posternctl.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT cli)
install(FILES docs/man/postern-policy.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT cli)
install(FILES ${completions}/bash
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME posternctl COMPONENT cli)
install(FILES ${completions}/zsh
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _posternctl COMPONENT cli)
install(FILES ${completions}/fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME posternctl.fish
  COMPONENT cli)

install(TARGETS postern-controller
  RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT controller)
install(FILES systemd/postern-controller.service DESTINATION ${where_units} COMPONENT controller)
install(FILES systemd/postern-controller.sysusers
  DESTINATION lib/sysusers.d RENAME postern-controller.conf COMPONENT controller)
install(FILES systemd/postern-controller.tmpfiles
  DESTINATION lib/tmpfiles.d RENAME postern-controller.conf COMPONENT controller)
install(FILES packaging/postern-controller.preset
  DESTINATION lib/systemd/system-preset RENAME 80-postern-controller.preset COMPONENT controller)
install(FILES packaging/controller.yaml DESTINATION /etc/postern COMPONENT controller)
install(FILES docs/man/postern-controller.8
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT controller)
install(FILES docs/man/controller.yaml.5
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT controller)

install(TARGETS postern-exporter RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT exporter)
install(FILES systemd/postern-exporter.service DESTINATION ${where_units} COMPONENT exporter)
install(FILES docs/man/postern-exporter.8
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT exporter)

install(TARGETS posternd_portable EXCLUDE_FROM_ALL
  RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT agent_portable)
install(TARGETS posternctl_portable EXCLUDE_FROM_ALL
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cli_portable)
install(TARGETS postern-controller_portable EXCLUDE_FROM_ALL
  RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT controller_portable)
