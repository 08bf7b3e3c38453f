workers = 4
bind = [
