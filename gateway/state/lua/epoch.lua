-- the name of a life that begins now -> {epoch, life}
notice_restart()
if redis.call('SET', at('epoch'), ARGV[1], 'NX') then
  -- Above all numbers of the lives before, whatever was done since the data were lost.
  local first = math.max(number_at('sequence'), math.floor(now * 1000000))
  redis.call('MSET', at('sequence'), whole(first), at('first'), whole(first))
end
return {redis.call('GET', at('epoch')), life()}
