import third
thing = 1
