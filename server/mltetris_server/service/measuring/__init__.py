"""How the machine and the server's processes are: what is measured, and by whom for all."""
