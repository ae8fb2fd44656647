#include "seqpar/rt/cuda/Library.h"

#include "seqpar/rt/Error.h"

#include <dlfcn.h>

#include <cstdlib>

namespace seqpar::rt::cuda {

namespace {

std::vector<std::string> toolkitFolders() {
  std::vector<std::string> folders;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *value = std::getenv(variable); value && *value)
      for (const char *under : {"/lib64/", "/lib/"})
        folders.push_back(std::string(value) + under);
  folders.push_back("/usr/local/cuda/lib64/");
  return folders;
}

} // namespace

void Library::Close::operator()(void *handle) const { dlclose(handle); }

bool Library::open(const std::string &path) {
  handle.reset(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
  if (handle) {
    thePath = path;
    return true;
  }
  // The first attempt names what the loader knows; later ones only add folders.
  if (reason.empty())
    reason = dlerror();
  return false;
}

Library::Library(const std::string &path, const std::vector<std::string> &names,
                 const std::string &purpose) {
  if (!path.empty() && open(path))
    return;
  if (path.empty()) {
    for (const std::string &name : names)
      if (open(name))
        return;
    for (const std::string &folder : toolkitFolders())
      for (const std::string &name : names)
        if (open(folder + name))
          return;
  }
  fail("{} needs {}, which cannot be loaded: {}", purpose, path.empty() ? names.front() : path,
       reason);
}

void *Library::symbol(const char *name) const {
  if (void *found = dlsym(handle.get(), name))
    return found;
  fail("{} lacks the function {}; expected a newer version of it", thePath, name);
}

} // namespace seqpar::rt::cuda
