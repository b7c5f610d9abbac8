"""A module that starts a thread when it is imported, which no zygote can have."""

import threading

threading.Thread(target=threading.Event().wait, name="of-a-library", daemon=True).start()
