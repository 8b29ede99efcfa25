// Runs a program that reads a request from its stdin and writes an answer to its stdout.
#pragma once

#include <chrono>
#include <string>
#include <vector>

struct ChildResult {
  std::string answer;
  std::string failure; // what went wrong, in words; empty if the program ended by itself with exit code 0
};

// Both texts are files in memory, so neither side can block on the other. The program is killed after `limit`.
ChildResult runChild(const std::vector<std::string> &command, const std::string &request, std::chrono::seconds limit);
