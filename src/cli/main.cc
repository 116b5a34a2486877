#include <cstdio>

int main() {
  std::puts("godwit 0.1.0");
  return 0;
}
