@0xb7a1d8c0f3e24659;

interface Echo {
  echo @0 (data :Data) -> (data :Data);
}
