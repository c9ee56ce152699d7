-- The seconds since the server came back, while it may have forgotten what a process sent; empty where every one has told it anew.
if redis.call('SCARD', at('silent')) == 0 then return '' end
return exact(now - tonumber(redis.call('GET', at('restarted')) or now))
