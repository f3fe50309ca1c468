// An asset from C#:  Chair.exe BUNDLE "a tall chair" chair.glb [SEED] [STOP_AT]
// Exit codes are the library's; 130 when stopped.
using System;
using System.Globalization;
using System.Threading;
using Gen3d;

internal static class Chair
{
    private static int Main(string[] words)
    {
        if (words.Length < 3) return (int)Code.Usage;
        ulong seed = words.Length > 3 ? ulong.Parse(words[3], CultureInfo.InvariantCulture) : 0;
        double stopAt = words.Length > 4 ? double.Parse(words[4], CultureInfo.InvariantCulture) : 2;
        var stop = new CancellationTokenSource();
        try
        {
            using (var bundle = new Bundle(words[0]))
            using (var asset = bundle.Run(words[1], seed, (component, done) =>
            {
                Console.Error.WriteLine(string.Format(CultureInfo.InvariantCulture, "{0,3:0} % {1}", 100 * done, component));
                if (done >= stopAt) stop.Cancel();
            }, cancel: stop.Token))
            {
                asset.Write(words[2]);
                var mesh = asset.Mesh();
                Console.WriteLine(mesh.Vertices.Length / 3 + " vertices, " + mesh.Faces.Length / 3 + " faces");
                return 0;
            }
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("stopped");
            return (int)Code.Cancelled;
        }
        catch (Gen3dException error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return (int)error.Code;
        }
    }
}
