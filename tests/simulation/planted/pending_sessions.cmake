# A start forgets the sessions that a crash left to be ended.
set(FROM [[std::vector<Grant> ended = std::move(state->sessions_pending);]])
set(TO [[std::vector<Grant> ended;]])
