-- The seconds since somebody first asked this of these data; empty data have been asked by nobody.
redis.call('SET', at('began'), exact(now), 'NX')
return exact(now - tonumber(redis.call('GET', at('began'))))
