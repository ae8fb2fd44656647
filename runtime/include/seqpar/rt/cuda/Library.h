//===- Library.h - shared libraries loaded at run time ----------*- C++ -*-===//
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt::cuda {

/// A shared library that is there at run time only. It stays loaded: drivers leave threads behind.
class Library {
public:
  /// Loads `path`, or when it is empty the first of `names` that is found: as the loader finds it,
  /// then in the folders of a CUDA toolkit ($CUDA_HOME, $CUDA_PATH, /usr/local/cuda). Throws Error
  /// that says what was looked for and, in the words of `purpose`, what it is needed for.
  Library(const std::string &path, const std::vector<std::string> &names,
          const std::string &purpose);

  /// Address of a function. Throws Error when the library lacks it.
  void *symbol(const char *name) const;
  const std::string &path() const { return thePath; }

private:
  struct Close {
    void operator()(void *handle) const;
  };
  bool open(const std::string &path);

  std::string thePath, reason;
  std::unique_ptr<void, Close> handle;
};

} // namespace seqpar::rt::cuda
