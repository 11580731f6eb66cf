"""The servers, data and processes that a benchmark runs on."""
