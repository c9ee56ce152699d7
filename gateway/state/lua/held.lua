-- keys... -> how many hold a place under each now
local found = {}
for index = 1, #ARGV do
  found[index] = redis.call('ZCOUNT', at('lease:' .. ARGV[index]), '(' .. exact(now), '+inf')
end
return found
