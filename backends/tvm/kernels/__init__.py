"""Loop nests of the TVM backend, written out with TVM's builder: what runs is what is read here."""
